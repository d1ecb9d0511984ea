import { type ErrorContext, isDrayError, messageOf } from "./errors.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

/** The log port. Fields are short facts; secrets and payloads never enter. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
}

export interface LogRecord {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger over one function that writes a record. */
export function loggerTo(write: (record: LogRecord) => void, bound: LogFields = {}): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) =>
    write({ level, message, fields: fields === undefined ? bound : { ...bound, ...fields } });
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), child: (fields) => loggerTo(write, { ...bound, ...fields }) };
}

export const nullLogger: Logger = loggerTo(() => undefined);

/** One logger that writes to several. */
export function teeLogger(...loggers: readonly Logger[]): Logger {
  return loggerTo((record) => {
    for (const logger of loggers) logger[record.level](record.message, record.fields);
  });
}

/** The fields under which an error is logged. */
export function errorFields(error: unknown): { error: string; code?: string; context?: ErrorContext } {
  return isDrayError(error) ? { error: error.message, code: error.code, context: error.context } : { error: messageOf(error) };
}
