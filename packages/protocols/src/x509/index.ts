export { Authority, type Issue, type KeyPair, type Validity } from "./authority.ts";
