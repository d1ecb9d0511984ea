/** What is wrong with the schedule of a CronJob, in the words of robfig/cron v3, whose standard parser the real server asks. */

interface FieldRange {
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

const FIELDS: readonly FieldRange[] = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] },
  { min: 0, max: 6, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
const DESCRIPTORS: ReadonlySet<string> = new Set(["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]);
const DURATION = /^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/;

/** Undefined when it can be kept. */
export function scheduleProblem(schedule: string): string | undefined {
  if (schedule.includes("TZ")) return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
  if (schedule.startsWith("@every ")) {
    const duration = schedule.slice("@every ".length);
    return DURATION.test(duration) ? undefined : `failed to parse duration ${schedule}: time: invalid duration ${JSON.stringify(duration)}`;
  }
  if (schedule.startsWith("@")) return DESCRIPTORS.has(schedule) ? undefined : `unrecognized descriptor: ${schedule}`;
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== FIELDS.length) return `expected exactly 5 fields, found ${fields.length}: [${fields.join(" ")}]`;
  return FIELDS.flatMap((range, index) => (fields[index] ?? "").split(",").map((part) => rangeProblem(part, range))).find((it) => it !== undefined);
}

function rangeProblem(text: string, { min, max, names }: FieldRange): string | undefined {
  const [span = "", step, ...moreSteps] = text.split("/");
  const [from = "", to, ...moreEnds] = span.split("-");
  const isAny = from === "*" || from === "?";
  if (moreEnds.length > 0 && !isAny) return `too many hyphens: ${text}`;
  if (moreSteps.length > 0) return `too many slashes: ${text}`;
  const read = (value: string): number => {
    const named = names?.indexOf(value.toLowerCase()) ?? -1;
    return named >= 0 ? named + min : /^\d+$/.test(value) ? Number(value) : Number.NaN;
  };
  for (const value of [...(isAny ? [] : [from, ...(to === undefined ? [] : [to])]), ...(step === undefined ? [] : [step])])
    if (Number.isNaN(read(value))) return `failed to parse int from ${value}: strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`;
  const start = isAny ? min : read(from);
  const end = isAny || (to === undefined && step !== undefined) ? max : read(to ?? from);
  if (start < min) return `beginning of range (${start}) below minimum (${min}): ${text}`;
  if (end > max) return `end of range (${end}) above maximum (${max}): ${text}`;
  if (start > end) return `beginning of range (${start}) beyond end of range (${end}): ${text}`;
  return step !== undefined && read(step) === 0 ? `step of range should be a positive number: ${text}` : undefined;
}
