/** Runs movers of the SDK: in the pod that was made for one move. */
export { LocationMoverStore } from "./location-mover-store.ts";
export { loadMover, type RunMoverOptions, runMover } from "./run-mover.ts";
