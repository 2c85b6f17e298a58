import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { GenericContainer } from 'testcontainers'

/**
 * Builds an image, and keeps it, so that the next time only what has changed is built. Where several tests need it at once, BuildKit does the
 * work once. Not with testcontainers, which takes the last image that was built when this one cannot be.
 *
 * @param context the folder that the build may read
 */
export async function buildImage(
  name: string,
  context: string,
  dockerfile = `${context}/Dockerfile`
): Promise<GenericContainer> {
  const args = ['build', '--progress=plain', '--tag', name, '--file', dockerfile, context]
  await promisify(execFile)('docker', args, { maxBuffer: Number.POSITIVE_INFINITY })
  return new GenericContainer(name)
}
