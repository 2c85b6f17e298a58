const library = require('relay-tracker/peer')
const { meet } = require('./meet.mjs')

meet(library)
