/**
 * The next thing to do towards a goal, found by looking at the world. Each `run` does one lasting thing that can be repeated;
 * afterwards the world is looked at again, so a crash between two of them loses nothing.
 */
export type Work =
  | { readonly state: "act"; readonly what: string; readonly run: () => Promise<void> }
  | { readonly state: "wait"; readonly reason: string }
  | { readonly state: "done" }
  /** Cannot be reached: the movement fails. */
  | { readonly state: "failed"; readonly message: string }
  /** The mover pod cannot come up: the movement is canceled, as Velero does. */
  | { readonly state: "unrecoverable"; readonly message: string };

export const done: Work = { state: "done" };
export const wait = (reason: string): Work => ({ state: "wait", reason });
export const failed = (message: string): Work => ({ state: "failed", message });
export const act = (what: string, run: () => Promise<unknown>): Work => ({
  state: "act",
  what,
  run: async () => {
    await run();
  },
});
