import * as library from 'relay-tracker/peer'
import { meet } from './meet.mjs'

await meet(library)
