/**
 * Who asked what, as kube-apiserver's `--audit-log-path` writes it: a line of JSON for each, an Event of audit.k8s.io/v1 at level Metadata. Written before the answer ends, so that who has
 * an answer finds its line; read by whoever counts requests.
 */
import { appendFileSync } from "node:fs";
import { type Clock, formatTime } from "@drayage/base";
import type { RequestInfo } from "./request-info.ts";

/** `ResponseStarted` is written of watches alone, which may last. */
export type AuditStage = "ResponseStarted" | "ResponseComplete";

export interface AuditedRequest {
  readonly stage: AuditStage;
  readonly info: RequestInfo;
  readonly url: string;
  readonly user: string;
  readonly userAgent: string | undefined;
  readonly code: number;
}

export class AuditLog {
  readonly #file: string;
  readonly #clock: Clock;

  constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  write({ stage, info, url, user, userAgent, code }: AuditedRequest): void {
    const event = {
      apiVersion: "audit.k8s.io/v1",
      kind: "Event",
      level: "Metadata",
      stage,
      stageTimestamp: formatTime(this.#clock.nowMs()),
      requestURI: url,
      verb: info.verb,
      user: { username: user },
      ...(userAgent === undefined ? {} : { userAgent }),
      ...(info.isResource ? { objectRef: objectOf(info) } : {}),
      ...(code === 0 ? {} : { responseStatus: { code } }),
    };
    appendFileSync(this.#file, `${JSON.stringify(event)}\n`, { mode: 0o600 });
  }
}

function objectOf({ plural, namespace, name, group, version, subresource }: RequestInfo & { readonly isResource: true }): Readonly<Record<string, string>> {
  const fields = { resource: plural, namespace, name, apiGroup: group === "" ? undefined : group, apiVersion: version, subresource };
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
