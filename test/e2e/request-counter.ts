/** Counts what the pods of an installation ask of the API server, from its audit log. */
import { existsSync, readFileSync } from "node:fs";

/** What is read of an audit.k8s.io/v1 Event. */
interface AuditEvent {
  readonly stage: string;
  readonly verb: string;
  readonly requestURI: string;
  readonly userAgent?: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly resource: string; readonly subresource?: string };
}

export interface AuditedRequest {
  /** A service account, and where several share one (Velero) the first word of the program's name for itself. */
  readonly role: string;
  /** Verb and resource. */
  readonly what: string;
  readonly uri: string;
}

/** By role, then by verb and resource, with `all`. */
export type RequestCounts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Begins to note; the result tells what was asked since then by service accounts of the namespace. A watch counts when it begins: it may last. */
export function requestsFromNow(auditLog: string, namespace: string): () => readonly AuditedRequest[] {
  const lines = (): string[] => (existsSync(auditLog) ? readFileSync(auditLog, "utf8").split("\n").slice(0, -1) : []);
  const before = lines().length;
  const account = `system:serviceaccount:${namespace}:`;
  return () =>
    lines()
      .slice(before)
      .flatMap((line) => {
        const { stage, verb, user, userAgent = "", objectRef, requestURI } = JSON.parse(line) as AuditEvent;
        if (!user.username.startsWith(account) || stage !== (verb === "watch" ? "ResponseStarted" : "ResponseComplete")) return [];
        const name = user.username.slice(account.length);
        const role = name === "velero" ? (userAgent.split("/")[0] ?? name) : name;
        const resource = [objectRef?.resource ?? "other", objectRef?.subresource].filter((part) => part !== undefined).join("/");
        return [{ role, what: `${verb} ${resource}`, uri: requestURI }];
      });
}

/** As `requestsFromNow`, counted. */
export function requestCounter(auditLog: string, namespace: string): () => RequestCounts {
  const requests = requestsFromNow(auditLog, namespace);
  return () => {
    const counts: Record<string, Record<string, number>> = {};
    for (const { role, what } of requests()) {
      counts[role] ??= {};
      const ofRole = counts[role];
      for (const key of [what, "all"]) ofRole[key] = (ofRole[key] ?? 0) + 1;
    }
    return counts;
  };
}
