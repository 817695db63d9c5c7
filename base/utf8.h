/*
 * UTF-8 (RFC 3629) in text that a stranger sent and a person or a terminal will read.
 */
#ifndef SLIPWAY_BASE_UTF8_H
#define SLIPWAY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes of the character at `text`, which is not its end; 0 when it is none (overlong forms and
 * surrogates are none). *control: it is one that a terminal or viewer obeys instead of showing it:
 * C0 and C1, DEL, line and paragraph separators, those that turn the direction of writing (also
 * U+061C), and those without any width (soft hyphen, U+200B to U+200F, U+2060 to U+206F, U+FEFF).
 * It has at most three bytes. */
size_t utf8_next(const char *text, bool *control);

#endif
