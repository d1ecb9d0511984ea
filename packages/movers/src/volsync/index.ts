export { type ResticAccess, withResticRepository } from "./restic-store.ts";
export { runVolSyncMover, type VolSyncMoverOptions } from "./run-volsync-mover.ts";
