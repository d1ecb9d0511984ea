export { type ResticAccess, withResticRepository } from "./restic-store.ts";
