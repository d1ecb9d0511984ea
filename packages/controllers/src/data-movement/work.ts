/**
 * The next thing to do towards a goal, found by looking at the world. Each `run` does one lasting thing that can be repeated;
 * afterwards the world is looked at again, so a crash between two of them loses nothing.
 */
export type Work =
  | { readonly state: "act"; readonly what: string; readonly run: () => Promise<void> }
  /** `recheckMs` where a cache tells when it is over, and looking sooner is for nothing; `keepsRest` where what is awaited is looked at anew, and nothing else that was seen has a part in it. */
  | { readonly state: "wait"; readonly reason: string; readonly recheckMs?: number; readonly keepsRest?: boolean }
  | { readonly state: "done" }
  /** Cannot be reached: the movement fails. */
  | { readonly state: "failed"; readonly message: string }
  /** The mover pod cannot come up: the movement is canceled, as Velero does. */
  | { readonly state: "unrecoverable"; readonly message: string };

export const done: Work = { state: "done" };
export const wait = (reason: string, recheckMs?: number): Work => ({ state: "wait", reason, ...(recheckMs === undefined ? {} : { recheckMs }) });
/** What else was seen stays as it was. */
export const waitAlone = (reason: string, recheckMs: number): Work => ({ state: "wait", reason, recheckMs, keepsRest: true });
export const failed = (message: string): Work => ({ state: "failed", message });
export const act = (what: string, run: () => Promise<unknown>): Work => ({
  state: "act",
  what,
  run: async () => {
    await run();
  },
});

/** Most of what others make or take away takes a moment; what has taken long already is not there a moment later. */
const RECHECK_FIRST_MS = 150;
const RECHECK_LAST_MS = 5_000;

/** How soon what nobody watches is looked at again, by how long it has been awaited. */
export const recheckAfterMs = (awaitedForMs: number): number => Math.min(Math.max(awaitedForMs / 2, RECHECK_FIRST_MS), RECHECK_LAST_MS);
