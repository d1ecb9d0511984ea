/** Who a request comes from: a client certificate, a bearer token, or nobody. */
import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { sha256 } from "./hashes.ts";
import { unauthorized } from "./status-error.ts";
import type { TokenIssuer, User } from "./tokens.ts";

export const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };
export const ADMIN: User = { name: "kubernetes-admin", groups: ["system:masters", "system:authenticated"] };

/** The user of a request. Throws Unauthorized for a bearer token that is not good. */
export function authenticate(request: IncomingMessage, tokens: TokenIssuer, adminToken: string): User {
  const header = request.headers.authorization;
  if (header !== undefined) {
    const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1] ?? "";
    if (timingSafeEqual(sha256(token), sha256(adminToken))) return ADMIN;
    const found = tokens.verify(token);
    if (found === undefined) throw unauthorized();
    return found.user;
  }
  const socket = request.socket as TLSSocket;
  if (socket.authorized !== true) return ANONYMOUS;
  const subject = socket.getPeerCertificate().subject as { CN?: string | string[]; O?: string | string[] } | undefined;
  const name = [subject?.CN ?? []].flat()[0];
  return name === undefined ? ANONYMOUS : { name, groups: [...[subject?.O ?? []].flat(), "system:authenticated"] };
}
