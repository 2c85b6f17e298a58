import { isUtf8 } from 'node:buffer'
import secureJson from 'secure-json-parse'
import { ApiError } from '../runtime/error-catalogue.ts'

/** Levels of nesting. */
const MAX_DEPTH = 33

/**
 * Reads JSON that means the same to everyone (I-JSON, RFC 7493): UTF-8, no duplicate members, no unpaired surrogates, and only numbers
 * that fit a double. It also refuses members that would reach a prototype.
 *
 * @throws ApiError `bad_request`
 */
export function parseStrictJson(body: Buffer): unknown {
  if (!isUtf8(body)) throw refused('it is not valid UTF-8')
  const text = body.toString()
  const value = parse(text)
  const members = countMembers(value, MAX_DEPTH)
  // In valid JSON a string before a colon is the name of a member.
  const names = text.match(/"(?:[^"\\]|\\.)*"\s*:?/g)?.filter((token) => token.endsWith(':')) ?? []
  if (names.length !== members) throw refused('it has a duplicate member')
  return value
}

function parse(text: string): unknown {
  try {
    return secureJson.parse(text, { protoAction: 'error', constructorAction: 'error' })
  } catch {
    throw refused('it is not valid JSON')
  }
}

function countMembers(value: unknown, depth: number): number {
  if (typeof value === 'string' && !value.isWellFormed()) throw refused('a string has an unpaired surrogate')
  if (typeof value === 'number' && !Number.isFinite(value)) throw refused('a number is too large')
  if (typeof value !== 'object' || value === null) return 0
  if (depth === 0) throw refused(`it is nested more than ${MAX_DEPTH} levels deep`)
  const names = Array.isArray(value) ? [] : Object.keys(value)
  if (!names.every((name) => name.isWellFormed())) throw refused('a name has an unpaired surrogate')
  return Object.values(value).reduce((sum, member) => sum + countMembers(member, depth - 1), names.length)
}

function refused(reason: string) {
  return new ApiError('bad_request', { message: `the body could not be read: ${reason}` })
}
