/**
 * The log of one backup or restore: logfmt lines as Velero writes them (`time="…" level=info msg="…" backup=velero/first name=web`), kept until they are uploaded,
 * and copied to the server's own log. What is logged as a warning or an error is also a message of the operation's results.
 */
import { asBuffer, type Clock, concat, formatTime, type LogFields, type Logger, type LogLevel, loggerTo, utf8 } from "@drayage/base";
import type { ResultMessages } from "../ports.ts";

const LEVEL_NAMES: Readonly<Record<LogLevel, string>> = { debug: "debug", info: "info", warn: "warning", error: "error" };

export interface OperationLogOptions {
  readonly clock: Clock;
  /** Gets every line as well. */
  readonly server: Logger;
  /** In every line: `{ backup: "velero/first" }`. */
  readonly fields: LogFields;
  /** Lines at debug level are left out unless this is true. */
  readonly withDebug?: boolean;
}

/** What is said of one item of an operation. */
export interface OperationLogPart extends Pick<OperationLog, "logger" | "warn" | "error"> {
  /** How many warnings and errors that were. */
  troubleCount(): number;
}

export class OperationLog {
  readonly logger: Logger;
  readonly #clock: Clock;
  readonly #parts: Uint8Array[] = [];
  #pending = "";
  readonly #warnings = new ResultCollector();
  readonly #errors = new ResultCollector();

  constructor(options: OperationLogOptions) {
    this.#clock = options.clock;
    const server = options.server.child(options.fields);
    this.logger = loggerTo(({ level, message, fields }) => {
      server[level](message, fields);
      if (level === "debug" && options.withDebug !== true) return;
      this.#append(level, message, { ...options.fields, ...fields });
      if (level === "warn" || level === "error") (level === "warn" ? this.#warnings : this.#errors).add(fields["namespace"], describe(message, fields));
    });
  }

  /** A warning that belongs to a namespace (or, with "", to the cluster's own resources), in the results only by its text. */
  warn(namespace: string | undefined, message: string): void {
    this.#append("warn", message, {});
    this.#warnings.add(namespace, message);
  }

  /** The same as an error. */
  error(namespace: string | undefined, message: string): void {
    this.#append("error", message, {});
    this.#errors.add(namespace, message);
  }

  get warningCount(): number {
    return this.#warnings.count;
  }

  get errorCount(): number {
    return this.#errors.count;
  }

  /** A part of it: what is said there is said here, and counted there as well. Of several that are written to at once, each counts its own. */
  part(): OperationLogPart {
    let troubleCount = 0;
    return {
      logger: loggerTo(({ level, message, fields }) => {
        if (level === "warn" || level === "error") troubleCount++;
        this.logger[level](message, fields);
      }),
      warn: (namespace, message) => {
        troubleCount++;
        this.warn(namespace, message);
      },
      error: (namespace, message) => {
        troubleCount++;
        this.error(namespace, message);
      },
      troubleCount: () => troubleCount,
    };
  }

  get results(): { readonly errors: ResultMessages; readonly warnings: ResultMessages } {
    return { errors: this.#errors.messages(), warnings: this.#warnings.messages() };
  }

  /** All lines up to now. */
  bytes(): Uint8Array {
    this.#flush();
    return concat(this.#parts);
  }

  #append(level: LogLevel, message: string, fields: LogFields): void {
    this.#pending += `${formatLine(this.#clock.nowMs(), level, message, fields)}\n`;
    // Long logs are kept as bytes, which take a fraction of what the text takes.
    if (this.#pending.length >= 64 << 10) this.#flush();
  }

  #flush(): void {
    if (this.#pending === "") return;
    this.#parts.push(asBuffer(utf8(this.#pending)));
    this.#pending = "";
  }
}

/** One line in the text format of logrus: time, level and message first, then the fields in byte order; values are quoted where they need it. */
export function formatLine(nowMs: number, level: LogLevel, message: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, value]) => ` ${key}=${quoteIfNeeded(text(value))}`)
    .join("");
  return `time="${formatTime(nowMs)}" level=${LEVEL_NAMES[level]} msg=${JSON.stringify(message)}${rest}`;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

function quoteIfNeeded(value: string): string {
  return /^[A-Za-z0-9\-._/@^+]*$/.test(value) ? value : JSON.stringify(value);
}

/** A message of the results, in the form Velero gives those that come from its log: what, which, and why. */
function describe(message: string, fields: LogFields): string {
  const part = (label: string, value: unknown): string => (value === undefined ? "" : ` ${label}: /${text(value)}`);
  return `${part("resource", fields["resource"])}${part("name", fields["name"])} message: /${message}${part("error", fields["error"])}`;
}

/** Messages by where they belong. */
export class ResultCollector {
  readonly #velero: string[] = [];
  readonly #cluster: string[] = [];
  readonly #namespaces = new Map<string, string[]>();
  count = 0;

  /** `undefined`: of the program itself; `""`: of cluster-scoped resources. */
  add(namespace: unknown, message: string): void {
    this.count++;
    if (typeof namespace !== "string") this.#velero.push(message);
    else if (namespace === "") this.#cluster.push(message);
    else {
      const messages = this.#namespaces.get(namespace) ?? [];
      messages.push(message);
      this.#namespaces.set(namespace, messages);
    }
  }

  messages(): ResultMessages {
    return {
      ...(this.#velero.length === 0 ? {} : { velero: this.#velero }),
      ...(this.#cluster.length === 0 ? {} : { cluster: this.#cluster }),
      ...(this.#namespaces.size === 0 ? {} : { namespaces: Object.fromEntries(this.#namespaces) }),
    };
  }
}

/** Two sets of messages as one. */
export function mergeMessages(a: ResultMessages, b: ResultMessages): ResultMessages {
  const namespaces: Record<string, readonly string[]> = { ...a.namespaces };
  for (const [name, messages] of Object.entries(b.namespaces ?? {})) namespaces[name] = [...(namespaces[name] ?? []), ...messages];
  const velero = [...(a.velero ?? []), ...(b.velero ?? [])];
  const cluster = [...(a.cluster ?? []), ...(b.cluster ?? [])];
  return {
    ...(velero.length === 0 ? {} : { velero }),
    ...(cluster.length === 0 ? {} : { cluster }),
    ...(Object.keys(namespaces).length === 0 ? {} : { namespaces }),
  };
}

/** How many messages there are. */
export function countMessages(messages: ResultMessages): number {
  return (
    (messages.velero?.length ?? 0) + (messages.cluster?.length ?? 0) + Object.values(messages.namespaces ?? {}).reduce((sum, list) => sum + list.length, 0)
  );
}
