import type { Appliance } from "./appliance.ts";
import type { ClusterApi } from "./cluster-api.ts";
import type { Copies } from "./copies.ts";

export interface VendorContext {
  readonly api: ClusterApi;
  /** The one that Drayage, or Velero, is installed in. */
  readonly namespace: string;
  readonly appliance: Appliance;
  readonly copies: Copies;
  readonly now: () => Date;
}
