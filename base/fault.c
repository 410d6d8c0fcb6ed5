/* fault.c: the armed point and its countdown. One point at a time is enough for a sweep and keeps the check cheap. */
#include "fault.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static _Atomic int armed_point;         /* 0: nothing armed */
static _Atomic uint32_t hits_left;
static _Atomic bool fired;

const enum mr__fault_point mr__fault_points[] = {
#define MR__FAULT_ITEM(number, name, what) MR__FAULT_##name,
    MR__FAULT_MAP(MR__FAULT_ITEM)
#undef MR__FAULT_ITEM
};
const uint32_t mr__fault_point_count = sizeof mr__fault_points / sizeof mr__fault_points[0];

bool mr__fault(enum mr__fault_point point)
{
    /* relaxed: arming happens before the threads under test are started */
    if (__builtin_expect(atomic_load_explicit(&armed_point, memory_order_relaxed) != (int)point, 1))
        return false;
    if (atomic_fetch_sub_explicit(&hits_left, 1, memory_order_relaxed) != 1)
        return false;
    atomic_store_explicit(&armed_point, 0, memory_order_relaxed);
    atomic_store_explicit(&fired, true, memory_order_relaxed);
    return true;
}

void mr__fault_arm(enum mr__fault_point point, uint32_t nth)
{
    atomic_store(&fired, false);
    atomic_store(&hits_left, nth);
    atomic_store(&armed_point, (int)point);
}

void mr__fault_disarm(void)
{
    atomic_store(&armed_point, 0);
}

bool mr__fault_fired(void)
{
    return atomic_load(&fired);
}

bool mr__fault_arm_from_env(void)
{
    const char *text = getenv("MILLRACE_FAULT");
    unsigned point, nth;
    char rest;
    if (text == NULL || *text == '\0')
        return true;
    if (sscanf(text, "%u:%u%c", &point, &nth, &rest) != 2 || nth == 0)
        return false;
    for (uint32_t i = 0; i < mr__fault_point_count; i++) {
        if ((unsigned)mr__fault_points[i] == point) {
            mr__fault_arm(mr__fault_points[i], nth);
            return true;
        }
    }
    return false;
}
