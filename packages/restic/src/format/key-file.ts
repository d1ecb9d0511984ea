/**
 * Key files: the only ones that are not encrypted. Each holds the repository's keys, sealed with what scrypt makes of one password.
 *
 *   {"created":"…","username":"…","hostname":"…","kdf":"scrypt","N":32768,"r":8,"p":1,"salt":"<base64>","data":"<base64>"}
 *   data, opened:  {"mac":{"k":"<base64 of 16>","r":"<base64 of 16>"},"encrypt":"<base64 of 32>"}
 *
 * restic: internal/repository/key.go.
 */
import { type ScryptOptions, scrypt } from "node:crypto";
import { concat, fromBase64, fromUtf8, utf8 } from "@drayage/base";
import { corrupt, isMembers, type Members, parseCount, parseMembers, parseText } from "./json.ts";
import { createOpener, SEAL_KEY_BYTES, type SealKernels } from "./sealed.ts";

export interface KeyFile {
  readonly userName: string;
  readonly hostName: string;
  readonly scrypt: { readonly N: number; readonly r: number; readonly p: number };
  readonly salt: Uint8Array;
  readonly data: Uint8Array;
}

/** restic measures its parameters so that a key takes half a second and 60 MB; a file that asks for more than this is not one of its. */
const SCRYPT_MEMORY_MAX_BYTES = 1 << 30;
const SCRYPT_WORK_MAX = 1 << 24;

/** Throws REPO_CORRUPT. */
export function decodeKeyFile(bytes: Uint8Array, what: string): KeyFile {
  const members = parseMembers(fromUtf8(bytes), what);
  const { kdf, N, r, p } = members;
  if (kdf !== "scrypt") throw corrupt(what, `its key derivation is ${JSON.stringify(kdf)?.slice(0, 40)}, "scrypt" was wanted`);
  const parameters = { N: parseCount(N, "N", what), r: parseCount(r, "r", what), p: parseCount(p, "p", what) };
  const isPower = parameters.N > 1 && Number.isInteger(Math.log2(parameters.N));
  const memory = 128 * parameters.N * parameters.r;
  if (!isPower || parameters.r < 1 || parameters.p < 1 || memory > SCRYPT_MEMORY_MAX_BYTES || parameters.N * parameters.r * parameters.p > SCRYPT_WORK_MAX)
    throw corrupt(what, `its scrypt parameters are N=${parameters.N}, r=${parameters.r}, p=${parameters.p}`);
  return {
    userName: parseText(members["username"], "username", what),
    hostName: parseText(members["hostname"], "hostname", what),
    scrypt: parameters,
    salt: base64Member(members, "salt", what),
    data: base64Member(members, "data", what),
  };
}

/** The repository's keys, as `createOpener` takes them; undefined when the password is not that of this file. Half a second of work. */
export async function openKeyFile(file: KeyFile, password: string, kernels: SealKernels, what: string): Promise<Uint8Array | undefined> {
  const derived = await derive(password, file);
  const plaintext = createOpener(derived, kernels).open(file.data);
  if (plaintext === undefined) return undefined;
  const { mac, encrypt } = parseMembers(fromUtf8(plaintext), what);
  if (!isMembers(mac)) throw corrupt(what, "it holds no key of the authentication");
  const key = concat([base64Of(encrypt, 32, "encrypt", what), base64Of(mac["k"], 16, "k", what), base64Of(mac["r"], 16, "r", what)]);
  plaintext.fill(0);
  return key;
}

function derive(password: string, { scrypt: { N, r, p }, salt }: KeyFile): Promise<Uint8Array> {
  // OpenSSL counts what the parallel lanes take as well.
  const options: ScryptOptions = { N, r, p, maxmem: 128 * r * (N + p + 2) + (1 << 20) };
  return new Promise((resolve, reject) => {
    scrypt(utf8(password), salt, SEAL_KEY_BYTES, options, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}

function base64Member(members: Members, name: string, what: string): Uint8Array {
  const value = members[name];
  const bytes = typeof value === "string" ? fromBase64(value) : undefined;
  if (bytes === undefined || bytes.length === 0) throw corrupt(what, `"${name}" is not base64`);
  return bytes;
}

function base64Of(value: unknown, length: number, name: string, what: string): Uint8Array {
  const bytes = typeof value === "string" ? fromBase64(value) : undefined;
  if (bytes?.length !== length) throw corrupt(what, `"${name}" is not the base64 of ${length} bytes`);
  return bytes;
}
