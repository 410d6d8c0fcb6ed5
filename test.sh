#!/usr/bin/env bash
# test.sh: installs what is missing, builds, and runs every test; then the suite again under AddressSanitizer with
# UndefinedBehaviorSanitizer, and under ThreadSanitizer.
#
#   ./test.sh                 all of it (what CI runs)
#   ./test.sh --quick         the release build only
#   ./test.sh --filter REGEX  only the tests whose name matches
#   ./test.sh --storm         none of these, but hundreds of jobs of which ranks, devices and nodes die (about an hour)
#
# The last line counts the tests of all builds: "N passed, N failed, N skipped". The exit status is 0 if none failed.
# Tests with the ctest label "release" run in the release build only, those with "not_tsan" not under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. tools/lib.sh

presets=(release asan tsan)
select=()
while [ $# -gt 0 ]; do
    case $1 in
    --quick) presets=(release) ;;
    --filter) [ $# -gt 1 ] || fail "--filter needs a regular expression"; select=(-R "$2"); shift ;;
    --storm) presets=(release); select=(-C storm -L '^storm$') ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) fail "unknown option $1; see ./test.sh --help" ;;
    esac
    shift
done

tools/setup.sh build test
tools/opencl.sh

# gcc 12's sanitizers expect less randomised addresses than some kernels give.
fixed_addresses=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
    fixed_addresses=(setarch "$(uname -m)" -R)
fi

passed=0 failed=0 skipped=0
notes=()
for preset in "${presets[@]}"; do
    report=$PWD/build/$preset/junit.xml
    run=()
    [ "$preset" = release ] || run=("${fixed_addresses[@]}")
    not_here=()
    case $preset in
    asan) not_here=(-LE '^release$') ;;
    tsan) not_here=(-LE '^(release|not_tsan)$') ;;
    esac

    if ! build_preset "$preset"; then
        failed=$((failed + 1))
        notes+=("$preset: failed to build")
        continue
    fi
    started=$SECONDS
    say test "build/$preset"
    rm -f "$report"
    ended=0
    "${run[@]}" ctest --preset "$preset" -j "$(nproc)" --no-tests=error --output-junit "$report" \
        "${select[@]}" "${not_here[@]}" </dev/null || ended=$?
    if [ ! -s "$report" ]; then
        failed=$((failed + 1))
        notes+=("$preset: ctest ended with status $ended and left no report")
        continue
    fi
    { read -r p f s; mapfile -t lines; } < <(awk -f tools/junit_count.awk "$report")
    if [ $((p + f + s)) -eq 0 ] && [ ${#select[@]} -eq 0 ]; then
        f=1
        notes+=("$preset: no test was run")
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    for line in "${lines[@]}"; do notes+=("$preset: $line"); done
    say test "build/$preset took $((SECONDS - started)) s"
done

if [ $((passed + failed + skipped)) -eq 0 ]; then
    failed=1
    notes+=("no test has a name that matches ${select[1]}")
fi
[ ${#notes[@]} -eq 0 ] || printf '%s\n' "" "${notes[@]}" ""
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
