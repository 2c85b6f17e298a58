import tap from 'tap'

// A test's folder is removed before its teardowns, and so under a process that still runs in it, unless one of them was there
// before the folder.
tap.beforeEach((t) => t.teardown(() => {}))
