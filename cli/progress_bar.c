/* progress_bar.c:
 *     map     [=============>          ]  54 %   812 MB/s   0.58 s left
 * Rates are shown for maps only: later stages count partitions, and partitions per second tell nobody anything. */
#include "progress_bar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"
#include "show.h"

enum { LINE_NS = 3000000000u, BAR_MAX = 40, TEXT_WIDTH = 52, LINE_SIZE = 256 };

static const char clear_line[] = "\r\033[K";

void cli_progress_begin(cli_progress *bar, bool quiet, const char *unit)
{
    const char *terminal = getenv("TERM");
    *bar = (cli_progress){.quiet = quiet, .unit = unit, .next_line_ns = mr__now_ns() + LINE_NS,
                          .terminal = isatty(STDERR_FILENO) && (terminal == NULL || strcmp(terminal, "dumb") != 0)};
}

static int bar_width(void)
{
    struct winsize size = {0};
    const int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    const int width = columns - TEXT_WIDTH;
    return width < 0 ? 0 : width < BAR_MAX ? width : BAR_MAX;
}

/* "812 MB/s, 0.58 s left, 1.2 GiB spilled", each part where it is known. */
static void describe(const cli_progress *bar, const mr_progress *progress, const char *separator, char line[LINE_SIZE])
{
    char text[CLI_SHOW_SIZE];
    int used = 0;
    line[0] = '\0';
    if (strcmp(progress->stage, "map") == 0 && progress->rate > 0)
        used += snprintf(line + used, LINE_SIZE - (size_t)used, "%s%s", separator,
                         cli_show_rate(progress->rate, bar->unit, text));
    if (progress->eta_seconds >= 0)
        used += snprintf(line + used, LINE_SIZE - (size_t)used, "%s%s left", separator,
                         cli_show_seconds(progress->eta_seconds, text));
    if (progress->spilled_bytes > 0)
        snprintf(line + used, LINE_SIZE - (size_t)used, "%s%s spilled", separator,
                 cli_show_bytes(progress->spilled_bytes, text));
}

static void draw_bar(const cli_progress *bar, const mr_progress *progress, const char *stage, double share)
{
    char filled[BAR_MAX + 1], rest[LINE_SIZE];
    const int width = bar_width();
    describe(bar, progress, "  ", rest);
    for (int i = 0; i < width; i++)
        filled[i] = i + 1 <= share * width ? '=' : i <= share * width ? '>' : ' ';
    filled[width] = '\0';
    fprintf(stderr, "\r%-9s%s%s%s%4.0f %%%s\033[K", stage, width > 0 ? "[" : "", filled, width > 0 ? "]" : "",
            share * 100, rest);
    fflush(stderr);
}

void cli_progress_show(const mr_progress *progress, void *context)
{
    cli_progress *bar = context;
    if (bar->quiet)
        return;
    char stage[48], rest[LINE_SIZE];
    double share = progress->total > 0 ? (double)progress->done / (double)progress->total : 0;
    share = share < 1 ? share : 1;
    if (progress->round > 0)
        snprintf(stage, sizeof stage, "%s %u", progress->stage, progress->round + 1);
    else
        snprintf(stage, sizeof stage, "%s", progress->stage);
    if (bar->terminal) {
        draw_bar(bar, progress, stage, share);
        bar->drawn = true;
        return;
    }
    const uint64_t now = mr__now_ns();
    if (now < bar->next_line_ns)
        return;
    bar->next_line_ns = now + LINE_NS;
    describe(bar, progress, ", ", rest);
    fprintf(stderr, "millrace: %s %.0f %%%s\n", stage, share * 100, rest);
}

void cli_progress_end(cli_progress *bar)
{
    if (bar->drawn)
        fputs(clear_line, stderr);
    bar->drawn = false;
}

void cli_progress_abandon(const cli_progress *bar)
{
    if (bar->drawn && write(STDERR_FILENO, clear_line, sizeof clear_line - 1) < 0)
        return;                 /* a terminal that is gone shows nothing */
}
