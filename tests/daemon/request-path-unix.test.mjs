/* SPDX-License-Identifier: Apache-2.0
 * The tests of the request path once more, over a UNIX socket: framing, deadlines and limits hold there too. */
process.env.MA_TEST_UNIX = '1';
await import('./request-path.test.mjs');
