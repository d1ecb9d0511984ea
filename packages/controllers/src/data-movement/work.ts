/**
 * The next thing to do towards a goal, found by looking at the world. Each `run` does one lasting thing that can be repeated;
 * afterwards the world is looked at again, so a crash between two of them loses nothing.
 */
export type Work =
  | { readonly state: "act"; readonly what: string; readonly run: () => Promise<void> }
  /** `recheckMs` where a cache tells when it is over, and looking sooner is for nothing. */
  | { readonly state: "wait"; readonly reason: string; readonly recheckMs?: number }
  | { readonly state: "done" }
  /** Cannot be reached: the movement fails. */
  | { readonly state: "failed"; readonly message: string }
  /** The mover pod cannot come up: the movement is canceled, as Velero does. */
  | { readonly state: "unrecoverable"; readonly message: string };

export const done: Work = { state: "done" };
export const wait = (reason: string, recheckMs?: number): Work => ({ state: "wait", reason, ...(recheckMs === undefined ? {} : { recheckMs }) });
export const failed = (message: string): Work => ({ state: "failed", message });
export const act = (what: string, run: () => Promise<unknown>): Work => ({
  state: "act",
  what,
  run: async () => {
    await run();
  },
});
