import { DrayError, type Logger, type LogLevel, loggerTo } from "@drayage/base";
import { destination, pino } from "pino";

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Velero's names of levels and ours. Throws USAGE. */
export function parseLogLevel(text: string): LogLevel {
  const level = { warning: "warn", trace: "debug", fatal: "error", panic: "error" }[text.toLowerCase()] ?? text.toLowerCase();
  if (!(LEVELS as readonly string[]).includes(level)) throw new DrayError("USAGE", `Cannot log at level "${text}": ${LEVELS.join(", ")} is wanted`);
  return level as LogLevel;
}

/** The log of a role: one line of JSON an event on standard output, written before the call returns, so that a crash loses nothing. */
export function processLogger(level: LogLevel, role: string): Logger {
  const log = pino(
    { level, base: { role }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    destination({ fd: 1, sync: true }),
  );
  return loggerTo((record) => log[record.level](record.fields, record.message));
}
