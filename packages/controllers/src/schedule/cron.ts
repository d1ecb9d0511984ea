/**
 * When a schedule is due: the notation of robfig/cron's standard parser (v3), which Velero uses, so that a schedule means here what it means there.
 *
 *   [TZ=Area/City | CRON_TZ=Area/City] minute hour day-of-month month day-of-week
 *   @yearly @annually @monthly @weekly @daily @midnight @hourly · @every DURATION
 *
 * A field is a list of `*`, `?`, `n`, `n-m`, each with an optional `/step`; `n/step` runs to the end of the range. Months and days may be named (jan, mon). Days of the week are
 * 0 to 6. When both day fields are restricted, either is enough. A time that a change of the clocks leaves out does not come on that day; one that comes twice is due twice.
 */
import { DrayError } from "@drayage/base";
import { parseDuration } from "@drayage/kube";

export interface CronSchedule {
  /** The first time that is later than this one; undefined when there is none within five years. */
  next(afterMs: number): number | undefined;
}

interface FieldRange {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

/** The values of a field, and whether it was left open (`*`), which decides how the two day fields combine. */
interface FieldValues {
  readonly values: ReadonlySet<number>;
  readonly open: boolean;
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: readonly FieldRange[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of month", min: 1, max: 31 },
  { name: "month", min: 1, max: 12, names: MONTHS },
  { name: "day of week", min: 0, max: 6, names: DAYS },
];

const DESCRIPTORS: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

const EVERY = "@every ";
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** A day that no year of the near future has (30 February) is looked for no longer than this. */
const YEARS_MAX = 5;
const YEARS_MAX_MS = YEARS_MAX * 366 * DAY_MS;

/**
 * Reads an expression. Times without a zone of their own are in `zone`. Throws VALIDATION_FAILED that names the field and what is wrong with it.
 *
 * @example parseCron("TZ=Europe/Berlin 30 3 * * mon-fri", "UTC").next(Date.UTC(2026, 0, 1))
 */
export function parseCron(expression: string, zone: string): CronSchedule {
  let text = expression;
  let where = zone;
  const prefix = /^(?:TZ|CRON_TZ)=(\S*)\s+/.exec(expression);
  if (prefix !== null) {
    where = prefix[1] ?? "";
    text = expression.slice(prefix[0].length);
  } else if (/^(?:TZ|CRON_TZ)=/.test(expression)) {
    throw invalid(expression, "a time zone is named, and nothing follows it");
  }
  text = text.trim();
  if (text.startsWith(EVERY)) return everySchedule(expression, text.slice(EVERY.length));
  if (text.startsWith("@")) {
    const fields = DESCRIPTORS[text];
    if (fields === undefined) throw invalid(expression, `descriptor "${text}" is none of ${Object.keys(DESCRIPTORS).join(", ")}, @every DURATION`);
    text = fields;
  }
  const parts = text.split(/\s+/).filter((part) => part !== "");
  if (parts.length !== FIELDS.length)
    throw invalid(expression, `it has ${parts.length} fields, where five are wanted: ${FIELDS.map(({ name }) => name).join(", ")}`);
  const [minute, hour, dayOfMonth, month, dayOfWeek] = FIELDS.map((range, index) => parseField(expression, parts[index] ?? "", range));
  if (minute === undefined || hour === undefined || dayOfMonth === undefined || month === undefined || dayOfWeek === undefined)
    throw invalid(expression, "a field is missing");
  return new FieldSchedule({ minute, hour, dayOfMonth, month, dayOfWeek }, zoneClock(expression, where));
}

function invalid(expression: string, what: string): DrayError {
  return new DrayError("VALIDATION_FAILED", `Cannot use schedule "${expression}": ${what}`, {
    hint: 'Write it as cron does, "0 3 * * *" for three o\'clock every day, or as @daily or @every 6h.',
  });
}

/** The time of the last run decides when the next one is; what is finer than a second is cut off. */
function everySchedule(expression: string, text: string): CronSchedule {
  const ms = parseDuration(text.trim());
  if (ms === undefined) throw invalid(expression, `"${text}" is no duration such as 1h30m`);
  const delayMs = Math.max(SECOND_MS, Math.trunc(ms / SECOND_MS) * SECOND_MS);
  return { next: (afterMs) => Math.floor(afterMs / SECOND_MS) * SECOND_MS + delayMs };
}

function parseField(expression: string, text: string, range: FieldRange): FieldValues {
  const values = new Set<number>();
  let open = false;
  for (const part of text.split(",")) {
    const fault = (what: string): DrayError => invalid(expression, `${range.name} "${part}" ${what}`);
    const [span = "", stepText, more] = part.split("/");
    const [lowText = "", highText, rest] = span.split("-");
    if (more !== undefined) throw fault("has more than one slash");
    if (rest !== undefined) throw fault("has more than one hyphen");
    const anything = lowText === "*" || lowText === "?";
    if (anything && highText !== undefined) throw fault("is no range");
    const low = anything ? range.min : parseValue(lowText, range, fault);
    const single = !anything && highText === undefined;
    const step = stepText === undefined ? 1 : parseNumber(stepText, fault);
    if (step === 0) throw fault("has a step of 0");
    const high = anything || (single && stepText !== undefined) ? range.max : highText === undefined ? low : parseValue(highText, range, fault);
    if (low < range.min || high > range.max) throw fault(`is outside of ${range.min} to ${range.max}`);
    if (low > high) throw fault("begins after its end");
    for (let value = low; value <= high; value += step) values.add(value);
    if (anything && step === 1) open = true;
  }
  return { values, open };
}

function parseValue(text: string, { names, min }: FieldRange, fault: (what: string) => DrayError): number {
  const named = names?.indexOf(text.toLowerCase()) ?? -1;
  return named >= 0 ? named + min : parseNumber(text, fault);
}

function parseNumber(text: string, fault: (what: string) => DrayError): number {
  if (!/^\d{1,9}$/.test(text)) throw fault(`has "${text}", where a number is wanted`);
  return Number(text);
}

/** What a wall clock shows. */
interface WallTime {
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  /** 0 is Sunday. */
  readonly weekday: number;
}

/** The wall clock of a zone. */
interface ZoneClock {
  at(ms: number): WallTime;
  /** The first moment at which the clock shows this time or, where a change leaves it out, a later one. */
  momentOf(year: number, month: number, day: number): number;
}

function zoneClock(expression: string, zone: string): ZoneClock {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      weekday: "short",
    });
  } catch {
    throw invalid(expression, `time zone "${zone}" is not known`);
  }
  const at = (ms: number): WallTime => {
    const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const field = (name: string): number => Number(parts[name]);
    return {
      year: field("year"),
      month: field("month"),
      day: field("day"),
      hour: field("hour"),
      minute: field("minute"),
      weekday: DAYS.indexOf((parts["weekday"] ?? "").toLowerCase()),
    };
  };
  const shownMs = (ms: number): number => {
    const { year, month, day, hour, minute } = at(ms);
    return Date.UTC(year, month - 1, day, hour, minute);
  };
  return {
    at,
    momentOf(year, month, day) {
      const wantedMs = Date.UTC(year, month - 1, day);
      // Offsets are less than a day, so midnight here is somewhere within a day of midnight there; the clock never runs backwards by more than a few hours.
      let [lowMs, highMs] = [wantedMs - DAY_MS, wantedMs + DAY_MS];
      while (highMs - lowMs > MINUTE_MS) {
        const middleMs = lowMs + Math.floor((highMs - lowMs) / 2 / MINUTE_MS) * MINUTE_MS;
        if (shownMs(middleMs) >= wantedMs) highMs = middleMs;
        else lowMs = middleMs;
      }
      return highMs;
    },
  };
}

interface CronFields {
  readonly minute: FieldValues;
  readonly hour: FieldValues;
  readonly dayOfMonth: FieldValues;
  readonly month: FieldValues;
  readonly dayOfWeek: FieldValues;
}

/** Walks forward by months, days, hours and minutes of the zone's clock, so that what the clock leaves out is never met. */
class FieldSchedule implements CronSchedule {
  readonly #fields: CronFields;
  readonly #clock: ZoneClock;

  constructor(fields: CronFields, clock: ZoneClock) {
    this.#fields = fields;
    this.#clock = clock;
  }

  next(afterMs: number): number | undefined {
    const { month, hour, minute } = this.#fields;
    const limitMs = afterMs + YEARS_MAX_MS;
    let ms = (Math.floor(afterMs / MINUTE_MS) + 1) * MINUTE_MS;
    while (ms <= limitMs) {
      const time = this.#clock.at(ms);
      if (!month.values.has(time.month))
        ms = time.month === 12 ? this.#clock.momentOf(time.year + 1, 1, 1) : this.#clock.momentOf(time.year, time.month + 1, 1);
      else if (!this.#fitsDay(time)) ms = this.#clock.momentOf(time.year, time.month, time.day + 1);
      else if (!hour.values.has(time.hour)) ms += (60 - time.minute) * MINUTE_MS;
      else if (!minute.values.has(time.minute)) ms += MINUTE_MS;
      else return ms;
    }
    return undefined;
  }

  #fitsDay({ day, weekday }: WallTime): boolean {
    const { dayOfMonth, dayOfWeek } = this.#fields;
    const [byDate, byWeekday] = [dayOfMonth.values.has(day), dayOfWeek.values.has(weekday)];
    return dayOfMonth.open || dayOfWeek.open ? byDate && byWeekday : byDate || byWeekday;
  }
}
