/** Limits per address that no load of one machine meets. */
export const NO_EDGE_LIMITS = {
  EDGE_REGISTER_RATE: '100000r/s',
  EDGE_REGISTER_BURST: '100000',
  EDGE_REQUEST_RATE: '100000r/s',
  EDGE_REQUEST_BURST: '100000',
  EDGE_CONNECTIONS: '10000',
  EDGE_LISTS: '32'
}
