/* SPDX-License-Identifier: Apache-2.0
 * An application on the vendor's SDK, unchanged: what a front-end engineer would write against the hosted service. */
import { createAuth0Client } from '@auth0/auth0-spa-js';

window.start = (options) => createAuth0Client(options).then((c) => { window.sdk = c; });
