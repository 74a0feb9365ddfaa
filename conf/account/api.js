/* SPDX-License-Identifier: Apache-2.0
 * Calls of the API, and what their errors mean to a person. */
import { config, send, stepUp, token, SignInError } from './auth.js';
import { has, t } from './i18n.js';

export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(ApiError.words(status, body, retryAfter));
    this.status = status;
    this.code = body.type?.split('/').pop();
    this.detail = body.detail;
    this.fields = body.validation_errors ?? [];
  }

  /* Details with an underscore are words for programs; others are sentences in English, shown where we have none. */
  static words(status, body, retryAfter) {
    if (has(`error_${body.detail}`)) return t(`error_${body.detail}`);
    if (status === 429) return t('error_too_many', { n: Math.max(1, Math.ceil((retryAfter ?? 60) / 60)) });
    if (status === 503 || status === 0) return t('error_unavailable');
    if (body.validation_errors?.length) return body.validation_errors.map((e) => e.detail).join(' ');
    return body.detail ?? t('error_unknown', { status });
  }
}
export class Cancelled extends Error {}

/* WWW-Authenticate of RFC 9470. */
function demanded(res) {
  const said = res.headers.get('www-authenticate') ?? '';
  if (!said.includes('insufficient_user_authentication')) return null;
  return { acr: said.match(/acr_values="([^"]*)"/)?.[1], maxAge: said.match(/max_age="?(\d+)/)?.[1] };
}

async function once(method, path, body, access) {
  try {
    return await send(method, `${config.audience}v1${path}`,
      body === undefined ? {} : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }, access);
  } catch (e) {
    if (e instanceof SignInError) throw e;
    throw new ApiError(0, {});
  }
}

/* Resolves with { status, body, headers }. Asks for a second factor, or for a fresh token, where the answer wants it. */
export async function call(method, path, body) {
  for (let tries = 0; ; tries++) {
    const res = await once(method, path, body, await token({ fresh: false }));
    if (res.status === 401 && tries < 2) {
      const wanted = demanded(res);
      if (wanted ? !await stepUp(wanted) : !await token({ fresh: true })) throw new Cancelled();
      continue;
    }
    const answer = res.status === 204 ? {} : await res.json().catch(() => ({}));
    if (!res.ok) throw new ApiError(res.status, answer, Number(res.headers.get('retry-after')) || undefined);
    return { status: res.status, body: answer, headers: res.headers };
  }
}
export const get = async (path) => (await call('GET', path)).body;
export const post = async (path, body) => (await call('POST', path, body)).body;
export const patch = async (path, body) => (await call('PATCH', path, body)).body;
export const remove = async (path) => (await call('DELETE', path)).body;
export const part = encodeURIComponent;

/* Every page of a list. */
export async function all(path, member) {
  const out = [];
  for (let next; ;) {
    const body = await get(`${path}${path.includes('?') ? '&' : '?'}take=20${next ? `&from=${part(next)}` : ''}`);
    out.push(...body[member]);
    next = body.next;
    if (!next) return out;
  }
}

/* A QR code as an <img>; the picture is made by the server, which keeps nothing of it. */
export async function qrPicture(text, label) {
  const res = await fetch('/account/qr', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: text });
  if (!res.ok) throw new ApiError(res.status, {});
  const img = document.createElement('img');
  img.className = 'qr';
  img.alt = label;
  img.width = img.height = 240;
  img.src = URL.createObjectURL(await res.blob());
  img.addEventListener('load', () => URL.revokeObjectURL(img.src), { once: true });
  return img;
}
