import { DrayError, type Logger, type LogLevel, loggerTo } from "@drayage/base";
import { destination, pino } from "pino";

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Velero's names of levels and ours. Throws USAGE. */
export function parseLogLevel(text: string): LogLevel {
  const level = { warning: "warn", trace: "debug", fatal: "error", panic: "error" }[text.toLowerCase()] ?? text.toLowerCase();
  if (!(LEVELS as readonly string[]).includes(level)) throw new DrayError("USAGE", `Cannot log at level "${text}": ${LEVELS.join(", ")} is wanted`);
  return level as LogLevel;
}

/** So much is written at once at most; more of one turn is written while the turn goes on. */
const BATCH_BYTES = 8 << 10;

/**
 * The log of a role: one line of JSON an event on standard output. What is said in one turn of the event loop is written in one call at its end, and before the process ends, warnings and errors
 * before the call returns: a process that is killed loses no more than the turn it was in. A backup says a line for each item; a call for each took a fifth of its time.
 */
export function processLogger(level: LogLevel, role: string): Logger {
  const output = destination({ fd: 1, sync: true, minLength: BATCH_BYTES });
  const log = pino({ level, base: { role }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } }, output);
  let isAwaited = false;
  const flush = (): void => {
    isAwaited = false;
    output.flushSync();
  };
  process.once("exit", flush);
  return loggerTo((record) => {
    log[record.level](record.fields, record.message);
    if (record.level === "warn" || record.level === "error") flush();
    else if (!isAwaited) {
      isAwaited = true;
      setImmediate(flush);
    }
  });
}
