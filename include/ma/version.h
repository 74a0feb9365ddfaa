/* SPDX-License-Identifier: Apache-2.0
 * The version of programs, packages and documentation.
 */
#ifndef MA_VERSION_H
#define MA_VERSION_H

#define MA_VERSION "0.1.0"

#endif
