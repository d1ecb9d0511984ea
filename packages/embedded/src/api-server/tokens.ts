/**
 * Bearer tokens: those of service accounts (JWT, ES256, in the claims of the real server) and those of named users, which this server signs for whoever runs it.
 * A service account's token is good while its account, and the pod it is bound to, are there.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, type RandomSource, randomUuid } from "@drayage/base";
import { isObject, type JsonObject, objectAt, textAt, textsAt } from "./json.ts";
import type { Storage } from "./storage.ts";

export const ISSUER = "https://kubernetes.default.svc.cluster.local";
const USER_ISSUER = "drayage-embedded";
/** Tokens whose signature is known to be good: every request carries one, and checking it again costs as much as answering a small request. */
const VERIFIED_MAX = 1000;

export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export interface BoundObject {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

export interface IssuedToken {
  readonly token: string;
  readonly expiresAtMs: number;
}

export class TokenIssuer {
  readonly #key: KeyObject;
  readonly #public: KeyObject;
  readonly #keyId: string;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #storage: Storage;
  /** Claims by token; what else decides whether a token is good is looked at each time. */
  readonly #verified = new Map<string, JsonObject>();

  /** Loads the signing key from `service-account.key` of a folder, or makes it there. */
  constructor(directory: string, storage: Storage, clock: Clock, random: RandomSource) {
    const path = join(directory, "service-account.key");
    if (!existsSync(path)) {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      writeFileSync(path, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    }
    this.#key = createPrivateKey(readFileSync(path, "utf8"));
    this.#public = createPublicKey(this.#key);
    this.#keyId = createHash("sha256")
      .update(this.#public.export({ type: "spki", format: "der" }))
      .digest("base64url");
    this.#clock = clock;
    this.#random = random;
    this.#storage = storage;
  }

  /** The public key as the `/openid/v1/jwks` document. */
  keySet(): JsonObject {
    return { keys: [{ use: "sig", kid: this.#keyId, alg: "ES256", ...(this.#public.export({ format: "jwk" }) as JsonObject) }] };
  }

  issueForAccount(account: { namespace: string; name: string; uid: string }, audiences: readonly string[], seconds: number, bound?: BoundObject): IssuedToken {
    const nowSeconds = Math.floor(this.#clock.nowMs() / 1000);
    const claims: JsonObject = {
      aud: audiences.length === 0 ? [ISSUER] : [...audiences],
      exp: nowSeconds + seconds,
      iat: nowSeconds,
      iss: ISSUER,
      jti: randomUuid(this.#random),
      "kubernetes.io": {
        namespace: account.namespace,
        ...(bound === undefined ? {} : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
        serviceaccount: { name: account.name, uid: account.uid },
      },
      nbf: nowSeconds,
      sub: `system:serviceaccount:${account.namespace}:${account.name}`,
    };
    return { token: this.#sign(claims), expiresAtMs: (nowSeconds + seconds) * 1000 };
  }

  /** A token for a user of any name, for the tools that run the cluster. It does not expire. */
  issueForUser(user: string, groups: readonly string[]): string {
    return this.#sign({ iss: USER_ISSUER, sub: user, groups: [...groups], aud: [ISSUER] });
  }

  /** Whose token it is, or undefined when it is not good here. */
  verify(token: string, audiences: readonly string[] = [ISSUER]): { readonly user: User; readonly audiences: readonly string[] } | undefined {
    const claims = this.#read(token);
    if (claims === undefined) return undefined;
    const nowSeconds = this.#clock.nowMs() / 1000;
    if (typeof claims["exp"] === "number" && claims["exp"] <= nowSeconds) return undefined;
    const accepted = textsAt(claims, "aud").filter((it) => audiences.includes(it));
    if (accepted.length === 0) return undefined;
    const user =
      claims["iss"] === USER_ISSUER ? { name: textAt(claims, "sub"), groups: [...textsAt(claims, "groups"), "system:authenticated"] } : this.#accountOf(claims);
    return user === undefined ? undefined : { user, audiences: accepted };
  }

  #accountOf(claims: JsonObject): User | undefined {
    const own = objectAt(claims, "kubernetes.io");
    const namespace = textAt(own, "namespace");
    const name = textAt(own, "serviceaccount", "name");
    const uid = textAt(own, "serviceaccount", "uid");
    const account = this.#storage.get("serviceaccounts", `${namespace}/${name}`);
    if (claims["iss"] !== ISSUER || account === undefined || account.metadata.uid !== uid) return undefined;
    const extra: Record<string, readonly string[]> = { "authentication.kubernetes.io/credential-id": [`JTI=${textAt(claims, "jti")}`] };
    for (const [kind, resource] of Object.entries({ pod: "pods", secret: "secrets", node: "nodes" })) {
      const bound = objectAt(own, kind);
      if (bound === undefined) continue;
      const key = kind === "node" ? textAt(bound, "name") : `${namespace}/${textAt(bound, "name")}`;
      if (this.#storage.get(resource, key)?.metadata.uid !== textAt(bound, "uid")) return undefined;
      extra[`authentication.kubernetes.io/${kind}-name`] = [textAt(bound, "name")];
      extra[`authentication.kubernetes.io/${kind}-uid`] = [textAt(bound, "uid")];
    }
    return {
      name: `system:serviceaccount:${namespace}:${name}`,
      uid,
      groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
      extra,
    };
  }

  #sign(claims: JsonObject): string {
    const head = Buffer.from(JSON.stringify({ alg: "ES256", kid: this.#keyId })).toString("base64url");
    const body = Buffer.from(JSON.stringify(claims)).toString("base64url");
    const signature = sign("sha256", Buffer.from(`${head}.${body}`), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return `${head}.${body}.${signature.toString("base64url")}`;
  }

  #read(token: string): JsonObject | undefined {
    const known = this.#verified.get(token);
    if (known !== undefined) return known;
    const claims = this.#readSigned(token);
    if (claims === undefined) return undefined;
    if (this.#verified.size >= VERIFIED_MAX) this.#verified.clear();
    this.#verified.set(token, claims);
    return claims;
  }

  #readSigned(token: string): JsonObject | undefined {
    const [head, body, signature, ...rest] = token.split(".");
    if (head === undefined || body === undefined || signature === undefined || rest.length > 0) return undefined;
    const good = verify("sha256", Buffer.from(`${head}.${body}`), { key: this.#public, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));
    if (!good) return undefined;
    try {
      const claims: unknown = JSON.parse(Buffer.from(body, "base64url").toString("utf8"));
      return isObject(claims) ? claims : undefined;
    } catch {
      return undefined;
    }
  }
}
