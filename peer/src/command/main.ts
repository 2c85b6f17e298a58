#!/usr/bin/env node
import { runRelayPeer } from './relay-peer.ts'

process.exitCode = await runRelayPeer(process.argv.slice(2), process)
