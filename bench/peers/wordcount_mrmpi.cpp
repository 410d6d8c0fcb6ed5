// wordcount_mrmpi.cpp: word count on MR-MPI, written as its manual's wordfreq example does it.
//
//     mpiexec.openmpi -n RANKS wordcount_mrmpi FILE OUT
//
// map() gets chunks of the file that are cut at blanks; each word goes out with an empty value; collate() brings equal
// words together; reduce() counts them. Rank r writes OUT/part-r as word<TAB>count. Tuned for a fair race: pages of
// 512 MB, so that a gigabyte of text stays in memory where it fits, chunks of about 16 MB, and no statistics.
#include <mrmpi/keyvalue.h>
#include <mrmpi/mapreduce.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/stat.h>

using namespace MAPREDUCE_NS;

enum { CHUNK = 16 << 20, LONGEST_WORD = 1 << 16, PAGE_MEGABYTES = 512 };

// MR-MPI ends the chunk with a NUL byte, which its size includes.
static void map_words(int, char *text, int size, KeyValue *pairs, void *)
{
    const char *const end = text + size - 1;
    for (char *at = text; at < end;) {
        while (at < end && strchr(" \t\n\v\f\r", *at))
            at++;
        char *const word = at;
        while (at < end && !strchr(" \t\n\v\f\r", *at))
            at++;
        if (at > word)
            pairs->add(word, (int)(at - word), NULL, 0);
    }
}

static void count(char *word, int size, char *, int values, int *, KeyValue *, void *file)
{
    uint64_t total = values;
    if (values == 0) { // more than one page of values: ask block by block
        int blocks;
        total = MapReduce::mrptr->multivalue_blocks(blocks);
    }
    FILE *out = (FILE *)file;
    fwrite(word, 1, size, out);
    fprintf(out, "\t%lu\n", total);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    struct stat st;
    if (argc != 3 || stat(argv[1], &st) != 0) {
        fprintf(stderr, "usage: wordcount_mrmpi FILE OUT; FILE must exist\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    const std::string part = std::string(argv[2]) + "/part-" + std::to_string(rank);
    if (mkdir(argv[2], 0777) != 0 && errno != EEXIST)
        MPI_Abort(MPI_COMM_WORLD, 3);
    FILE *out = fopen(part.c_str(), "w");
    if (!out)
        MPI_Abort(MPI_COMM_WORLD, 3);

    MapReduce mr(MPI_COMM_WORLD);
    mr.verbosity = mr.timer = 0;
    mr.memsize = PAGE_MEGABYTES;
    int chunks = (int)(st.st_size / CHUNK) + 1;
    if (chunks < ranks)
        chunks = ranks;
    mr.map(chunks, 1, &argv[1], 0, 0, '\n', LONGEST_WORD, map_words, NULL);
    mr.collate(NULL);
    mr.reduce(count, out);

    const bool written = fclose(out) == 0;
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0 && written)
        printf("{\"seconds\": %.6f}\n", MPI_Wtime() - begin);
    MPI_Finalize();
    return written ? 0 : 3;
}
