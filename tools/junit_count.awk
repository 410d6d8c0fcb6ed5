# junit_count.awk: reads ctest's JUnit reports and prints "passed failed skipped", then a line for each test that failed
# or was skipped.
# The counts in the report's head are not used: there ctest counts a test whose program is missing as skipped.
function value(name) {
    return match($0, " " name "=\"[^\"]*\"") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4) : ""
}
function finish_case() {
    if (test == "")
        return
    if (status == "run") {
        passed++
    } else if (status == "disabled" || (status == "notrun" && by_itself)) {
        skipped++
        lines[++count] = "skipped " test (reason == "" ? "" : ": " reason)
    } else {
        failed++
        lines[++count] = "failed " test
    }
    test = ""
}
/<testcase / { finish_case(); test = value("name"); status = value("status"); by_itself = 0; reason = ""; next }
/<skipped message="SKIP_/ { by_itself = 1; next }
/<system-out>/ && by_itself {
    reason = $0
    gsub(/^[ \t]*<system-out>|<\/system-out>.*$/, "", reason)
    gsub(/&lt;/, "<", reason); gsub(/&gt;/, ">", reason); gsub(/&quot;/, "\"", reason); gsub(/&apos;/, "'", reason)
    gsub(/&amp;/, "\\&", reason)
}
END {
    finish_case()
    print passed + 0, failed + 0, skipped + 0
    for (i = 1; i <= count; i++)
        print lines[i]
}
