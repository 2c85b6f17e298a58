/** Whether a container engine is there; `npm test` finds out. In CI it always is, or the run fails. */
export const skipWithoutContainers = process.env.TEST_CONTAINERS ? false : 'there is no container engine'
