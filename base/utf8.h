/* utf8.h: file names are bytes, JSON and terminals want UTF-8.
 * Promise   clean() changes nothing but bytes that are no UTF-8 (overlong forms and surrogates included): each becomes
 *           U+FFFD.
 * Owner     The copy is the caller's: mr__free().
 * Failure   NULL: no memory. */
#ifndef MR__UTF8_H
#define MR__UTF8_H

char *mr__utf8_clean(const char *text);

#endif
