/* SPDX-License-Identifier: Apache-2.0
 * A WebAuthn authenticator and the browser around it, in software: every field of what they send can be bent. */
import crypto from 'node:crypto';

/* --- CBOR, written canonically (CTAP2): what is needed and no more --- */
function head(major, n) {
  if (n < 24) return Buffer.from([major << 5 | n]);
  if (n < 0x100) return Buffer.from([major << 5 | 24, n]);
  if (n < 0x10000) return Buffer.from([major << 5 | 25, n >> 8, n & 255]);
  const b = Buffer.alloc(5);
  b[0] = major << 5 | 26;
  b.writeUInt32BE(n, 1);
  return b;
}
/* Numbers, text, bytes, booleans, arrays, and maps as Map in the order of their entries. */
export function cbor(v) {
  if (typeof v === 'boolean') return Buffer.from([v ? 0xf5 : 0xf4]);
  if (typeof v === 'number') return v < 0 ? head(1, -1 - v) : head(0, v);
  if (typeof v === 'string') return Buffer.concat([head(3, Buffer.byteLength(v)), Buffer.from(v)]);
  if (Buffer.isBuffer(v)) return Buffer.concat([head(2, v.length), v]);
  if (Array.isArray(v)) return Buffer.concat([head(4, v.length), ...v.map(cbor)]);
  return Buffer.concat([head(5, v.size), ...[...v].flat().map(cbor)]);
}

const sha256 = (b) => crypto.createHash('sha256').update(b).digest();
const b64url = (b) => Buffer.from(b).toString('base64url');

export const FLAG = { UP: 0x01, UV: 0x04, BE: 0x08, BS: 0x10, AT: 0x40, ED: 0x80 };

/* RSA keys take a while: one for all. */
let rsa;
const PAIR = {
  ES256: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => crypto.generateKeyPairSync('ed25519'),
  RS256: () => { rsa ??= crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }); return rsa; },
};
const COSE = {
  ES256: (j) => [[1, 2], [3, -7], [-1, 1], [-2, Buffer.from(j.x, 'base64url')], [-3, Buffer.from(j.y, 'base64url')]],
  EdDSA: (j) => [[1, 1], [3, -8], [-1, 6], [-2, Buffer.from(j.x, 'base64url')]],
  RS256: (j) => [[1, 3], [3, -257], [-1, Buffer.from(j.n, 'base64url')], [-2, Buffer.from(j.e, 'base64url')]],
};
export const COSE_ALG = { ES256: -7, EdDSA: -8, RS256: -257 };

export class Credential {
  constructor(alg = 'ES256') {
    this.alg = alg;
    this.id = crypto.randomBytes(32);
    this.aaguid = crypto.randomBytes(16);
    const pair = PAIR[alg]();
    this.privateKey = pair.privateKey;
    this.cose = new Map(COSE[alg](pair.publicKey.export({ format: 'jwk' })));
  }
  get publicKey() { return cbor(this.cose); }
  sign(data) { return crypto.sign(this.alg === 'EdDSA' ? null : 'sha256', data, this.privateKey); }

  /* over: rpId, flags, counter, id, aaguid, cose (Map), extensions (bytes), data (function of the bytes). */
  authData(rpId, over) {
    const id = over.id ?? this.id;
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(over.counter ?? 0);
    const flags = over.flags ?? (FLAG.UP | FLAG.UV | FLAG.AT);
    const attested = [over.aaguid ?? this.aaguid, Buffer.from([id.length >> 8, id.length & 255]), id, cbor(over.cose ?? this.cose)];
    const data = Buffer.concat([sha256(over.rpId ?? rpId), Buffer.from([flags]), counter,
      ...(flags & FLAG.AT ? attested : []), ...(over.extensions ? [over.extensions] : [])]);
    return over.data ? over.data(data) : data;
  }
}

/* What navigator.credentials.create() gives for these options, as credential.toJSON() writes it. `over` besides the
 * members above: origin, challenge, type, client (function of the client data object), clientText (of its text),
 * fmt, stmt (function of the statement map), object (function of the attestation object's bytes), transports. */
export function create(options, origin, over = {}, credential = new Credential(over.alg)) {
  let client = { type: over.type ?? 'webauthn.create', challenge: over.challenge ?? options.challenge, origin: over.origin ?? origin, crossOrigin: false };
  if (over.client) client = over.client(client);
  let text = JSON.stringify(client);
  if (over.clientText) text = over.clientText(text);
  const authData = credential.authData(options.rp.id, over);
  let stmt = new Map();
  if (over.fmt === 'packed')
    stmt = new Map([['alg', COSE_ALG[credential.alg]], ['sig', credential.sign(Buffer.concat([authData, sha256(text)]))]]);
  if (over.stmt) stmt = over.stmt(stmt);
  let object = cbor(new Map([['fmt', over.fmt ?? 'none'], ['attStmt', stmt], ['authData', authData]]));
  if (over.object) object = over.object(object);
  const id = b64url(over.id ?? credential.id);
  return {
    id, rawId: id, type: 'public-key', authenticatorAttachment: 'platform', clientExtensionResults: { credProps: { rk: true } },
    response: { attestationObject: b64url(object), clientDataJSON: b64url(text), transports: over.transports ?? ['internal', 'hybrid'],
      /* What browsers add; nothing reads it. */
      authenticatorData: b64url(authData), publicKey: 'AA', publicKeyAlgorithm: COSE_ALG[credential.alg] },
  };
}

/* What navigator.credentials.get() gives for {challenge, rpId}. handle: the user handle (base64url) the credential was
 * made for. `over`: as above, and signature (function of the bytes), userHandle (null leaves it out). */
export function get(options, origin, credential, handle, over = {}) {
  let client = { type: over.type ?? 'webauthn.get', challenge: over.challenge ?? options.challenge, origin: over.origin ?? origin, crossOrigin: false };
  if (over.client) client = over.client(client);
  const text = JSON.stringify(client);
  const authData = credential.authData(options.rpId, { flags: FLAG.UP | FLAG.UV, ...over, id: undefined });
  let signature = credential.sign(Buffer.concat([authData, sha256(text)]));
  if (over.signature) signature = over.signature(signature);
  const id = b64url(over.id ?? credential.id);
  const userHandle = over.userHandle === undefined ? handle : over.userHandle;
  return {
    id, rawId: id, type: 'public-key', authenticatorAttachment: 'platform', clientExtensionResults: {},
    response: { authenticatorData: b64url(authData), clientDataJSON: b64url(text), signature: b64url(signature), ...(userHandle ? { userHandle } : {}) },
  };
}
