"""wordcount_spark.py dataframe|rdd INPUT OUT THREADS: word count in Spark, master local[THREADS], written as TSV."""
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode, split

from peer import Stopwatch

way, path, out, threads = sys.argv[1:]
spark = (
    SparkSession.builder.master(f"local[{int(threads)}]")
    .config("spark.driver.memory", "8g")
    .config("spark.sql.shuffle.partitions", 2 * int(threads))
    .config("spark.default.parallelism", 2 * int(threads))
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
with Stopwatch() as watch:
    if way == "dataframe":
        words = spark.read.text(path).select(explode(split(col("value"), " ")).alias("word"))
        counts = words.where(col("word") != "").groupBy("word").count()
        counts.write.option("sep", "\t").option("quote", "").csv(out)
    else:
        lines = spark.sparkContext.textFile(path)
        counts = lines.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(int.__add__)
        counts.map(lambda pair: f"{pair[0]}\t{pair[1]}").saveAsTextFile(out)
watch.report(version=spark.version)
spark.stop()
