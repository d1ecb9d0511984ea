export { type CachesOptions, type DataMovementCaches, startDataMovementCaches } from "./caches.ts";
export * from "./data-movers.ts";
export { type DataMovement, endingOf, MOVEMENT_ANNOTATIONS, type Phase as DataMovementPhase } from "./movement.ts";
export * from "./node-agent.ts";
export * from "./node-agent-config.ts";
export { Slots } from "./slots.ts";
export { sweepOrphans } from "./sweep-orphans.ts";
