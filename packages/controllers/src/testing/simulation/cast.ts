/**
 * Who plays beside the servers, the node-agents and the cluster: nobody; movers of others, groups of volumes and webhooks; or VolSync with the data mover of OADP 1.2. Each has its own
 * seeds, so that a newcomer changes no run of the others.
 */
export type Cast = "ours" | "others" | "volsync";

export const CASTS: readonly Cast[] = ["ours", "others", "volsync"];
