/* SPDX-License-Identifier: Apache-2.0
 * Everything a test file needs, in one import. */
export { default as assert } from 'node:assert/strict';
export { test, describe, before, after } from 'node:test';
export * from './daemon.mjs';
export * from './http.mjs';
export * from './openapi.mjs';
export * from './otp.mjs';
export * from './session.mjs';
export * from './state.mjs';
export * from './tokens.mjs';
