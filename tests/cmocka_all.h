/* cmocka_all.h: cmocka with the headers that it wants before it. */
#ifndef MR__CMOCKA_ALL_H
#define MR__CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
