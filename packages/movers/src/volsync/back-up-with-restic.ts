/**
 * A volume into a restic repository, as VolSync's mover does it: the same host, path and options, so that either continues what the other began.
 *
 *   unlock? ─► is there a repository? ─► init ─► backup . ─► forget ─► prune?
 */
import type { VolSyncBackupRequest, VolSyncRetention } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { lastLine, RESTIC_EXIT, type ResticProgram, type ResticRun } from "./restic-program.ts";

/** VolSync's, on every snapshot. */
const HOST = "volsync";
/** ext4's own folder, which no restore could write. */
const EXCLUDED = "lost+found";
/** restic tries for a quarter of an hour to reach a store; whether it is there shows at once. */
const PROBE_LIMIT_MS = 10_000;
/** How restic before 0.17 says that there is no repository. */
const NO_REPOSITORY = /Is there a repository at the following location/;
const WRONG_PASSWORD = /wrong password or no key found/;

/** Throws REPO_WRONG_PASSWORD, REPO_LOCKED, BLOB_UNAVAILABLE, PATH_IO, NOT_SUPPORTED. */
export async function backUpWithRestic(restic: ResticProgram, request: VolSyncBackupRequest, dataPath: string): Promise<void> {
  const isThere = await probe(restic);
  if (!isThere) expectOk("create the repository", await restic.run(["init"]));
  else if (request.unlock) expectOk("remove stale locks of the repository", await restic.run(["unlock"]));
  const backup = await restic.run(["backup", "--host", HOST, "--exclude", EXCLUDED, "."], { folder: dataPath });
  if (backup.code === RESTIC_EXIT.incomplete) {
    throw new DrayError("PATH_IO", `Cannot back up the whole volume: some files could not be read${lastLine(backup.output)}`, {
      hint: 'What could be read is in the repository. Movers that may read everything need the annotation "volsync.backube/privileged-movers: true" on their namespace.',
    });
  }
  expectOk("back up the volume", backup);
  expectOk("forget old snapshots", await exclusively(restic, ["forget", "--host", HOST, ...keepOptions(request.retain)]));
  if (request.prune) expectOk("prune the repository", await exclusively(restic, ["prune"]));
}

async function probe(restic: ResticProgram): Promise<boolean> {
  const { code, output } = await restic.run(["cat", "config", "--no-lock"], { limitMs: PROBE_LIMIT_MS });
  if (code === RESTIC_EXIT.ok) return true;
  if (code === RESTIC_EXIT.noRepository || NO_REPOSITORY.test(output)) return false;
  expectOk("open the repository", { code, output });
  return true;
}

/** Needs the repository for itself. A mover that was killed leaves a lock, which is stale after half an hour: then it is removed, once, and the work done. */
async function exclusively(restic: ResticProgram, args: readonly string[]): Promise<ResticRun> {
  const first = await restic.run(args);
  if (first.code !== RESTIC_EXIT.locked) return first;
  expectOk("remove stale locks of the repository", await restic.run(["unlock"]));
  return await restic.run(args);
}

function expectOk(what: string, { code, output }: ResticRun): void {
  if (code === RESTIC_EXIT.ok) return;
  const message = `Cannot ${what}`;
  if (code === RESTIC_EXIT.wrongPassword || WRONG_PASSWORD.test(output)) {
    throw new DrayError("REPO_WRONG_PASSWORD", `${message}: the password is that of none of its keys`, {
      hint: 'Set "RESTIC_PASSWORD" of the Secret to the password that the repository was made with.',
    });
  }
  if (code === RESTIC_EXIT.locked) {
    throw new DrayError("REPO_LOCKED", `${message}: somebody else has it locked${lastLine(output)}`, {
      hint: "A lock that nobody renews is removed after half an hour; a new value of spec.restic.unlock asks for it sooner.",
    });
  }
  throw new DrayError("BLOB_UNAVAILABLE", `${message}: restic ended with ${code}${lastLine(output)}`);
}

/** The options of `restic forget`; VolSync keeps the last one where nothing is said. */
export function keepOptions(retain: VolSyncRetention): string[] {
  const options = (["last", "hourly", "daily", "weekly", "monthly", "yearly", "within"] as const).flatMap((name) => {
    const value = retain[name];
    return value === undefined || value === "" || value === 0 ? [] : [`--keep-${name}`, String(value)];
  });
  return options.length === 0 ? ["--keep-last", "1"] : options;
}
