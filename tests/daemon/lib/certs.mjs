/* SPDX-License-Identifier: Apache-2.0
 * Certificates and keys for tests, made by openssl(1): signed by itself, or by a chain of authorities. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

export function openssl(...args) {
  const r = spawnSync('openssl', args, { encoding: 'utf8' });
  assert.equal(r.status, 0, `openssl ${args.join(' ')}: ${r.stderr}`);
  return r.stdout;
}

const KEYS = { ec: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], rsa: ['rsa:2048'], rsa1024: ['rsa:1024'], ed25519: ['ed25519'], p521: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-521'] };

/* Writes DIR/NAME.crt and DIR/NAME.key (0600). opts: kind of KEYS, names (SAN), days (may be negative), by (another
 * one's result that signs this), authority. `ca` is what a client has to trust. */
export function certificate(dir, name, { kind = 'ec', names = 'DNS:localhost,IP:127.0.0.1', days = 365, by, authority = false } = {}) {
  const at = (ext) => path.join(dir, `${name}.${ext}`);
  const [algorithm, ...more] = KEYS[kind];
  const from = days > 0 ? -1 : days - 1;
  const date = (d) => `${new Date(Date.now() + d * 86400000).toISOString().replace(/[-:T]|\.\d+/g, '')}`;
  openssl('req', '-new', '-newkey', algorithm, ...more, '-nodes', '-keyout', at('key'), '-out', at('csr'), '-subj', `/CN=${name}`);
  fs.chmodSync(at('key'), 0o600);
  fs.writeFileSync(at('ext'), `subjectAltName=${names}\nbasicConstraints=critical,CA:${authority ? 'TRUE' : 'FALSE'}\n`);
  const conf = at('ca.conf');
  fs.writeFileSync(conf, `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index')}\nnew_certs_dir=${dir}\nserial=${at('serial')}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n`);
  fs.writeFileSync(at('index'), '');
  fs.writeFileSync(at('serial'), `${crypto.randomBytes(8).toString('hex').replace(/^./, '1')}\n`);
  const signer = by ? ['-cert', by.certificate, '-keyfile', by.key] : ['-selfsign', '-keyfile', at('key')];
  openssl('ca', '-batch', '-config', conf, ...signer, '-in', at('csr'), '-out', at('crt'), '-extfile', at('ext'), '-notext', '-startdate', date(from), '-enddate', date(days));
  const pem = fs.readFileSync(at('crt'), 'utf8');
  return { certificate: at('crt'), key: at('key'), pem, ca: by ? by.ca : pem, fingerprint: new crypto.X509Certificate(pem).fingerprint256 };
}
