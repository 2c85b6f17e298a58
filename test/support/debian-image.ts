import type { GenericContainer } from 'testcontainers'
import { buildImage } from './image.ts'

/** The image of test/debian. */
export function debianImage(): Promise<GenericContainer> {
  return buildImage('relay-tracker-test-packages', 'test/debian')
}
