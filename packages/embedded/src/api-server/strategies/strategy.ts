/**
 * What is particular to one resource: its defaults, what a client may not set, what is wrong with an object, and how it is found by fields. Everything common to all
 * resources is in operations.ts.
 */
import type { Clock, RandomSource } from "@drayage/base";
import type { ApiObject } from "../json.ts";
import type { FieldError } from "../status-error.ts";
import type { Storage } from "../storage.ts";
import { strategies } from "./all.ts";

/** What strategies may look at. */
export interface World {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** First three octets of the addresses of services. */
  readonly serviceNetwork: string;
}

export interface Strategy {
  /** Names are checked as DNS subdomains unless something else is said. */
  readonly names?: "subdomain" | "label" | "service" | "path";
  /** Whether metadata.generation counts changes of what is wanted. */
  readonly generation?: boolean;
  /** Whether a change of labels counts as well. */
  readonly labelsCount?: boolean;
  /** Whether a change of annotations counts as well. */
  readonly annotationsCount?: boolean;
  /** What becomes of dependents when a deletion does not say; Background unless something else stands here. */
  readonly defaultPropagation?: "Orphan";
  /** Warns whoever deletes without saying what becomes of dependents. */
  readonly deletionWarning?: string;
  /** Fields at the top that only the status subresource writes. Empty where there is none. */
  readonly statusFields?: readonly string[];
  /** Fills in what was not given. Also runs on updates. */
  defaults?(object: ApiObject, world: World): void;
  /** Runs once, on creation, after the defaults: allocation, admission and initial status. */
  prepareCreate?(object: ApiObject, world: World): void;
  prepareUpdate?(object: ApiObject, old: ApiObject, world: World): void;
  validate?(object: ApiObject, world: World): FieldError[];
  validateUpdate?(object: ApiObject, old: ApiObject, world: World): FieldError[];
  /** Also for writes through the status subresource. */
  validateStatus?(object: ApiObject, old: ApiObject): FieldError[];
  /** Refuses with a reason of its own (quota, lifecycle); throws StatusError. */
  admit?(object: ApiObject, old: ApiObject | undefined, world: World): void;
  /** Values by which field selectors find objects, besides name and namespace. */
  selectableFields?(object: ApiObject): Readonly<Record<string, string>>;
  /** Seconds a deletion waits for somebody to finish the object; undefined when it is removed at once. */
  gracePeriodSeconds?(object: ApiObject, wanted: number | undefined): number | undefined;
}

export function strategyFor(group: string, plural: string): Strategy {
  return strategies[group === "" ? plural : `${group}/${plural}`] ?? {};
}
