// Reads Authentication-Results with mailauth, and what libmime decodes them to: one value a line, in hexadecimal digits.
// Answers three texts likewise, with blanks between: mailauth's authserv-id, the decoded value, its authserv-id.
'use strict';

const { readFileSync } = require('node:fs');
const { createRequire } = require('node:module');

const installed = createRequire(process.cwd() + '/');
const parse = installed('mailauth/lib/parse-dkim-headers');
const libmime = installed('libmime');
const decodeWords = (libmime.default ?? libmime).decodeWords.bind(libmime.default ?? libmime);

const attempt = work => {
    try {
        return String(work() ?? '');
    } catch {
        return '';
    }
};

const authservId = value => attempt(() => parse(`Authentication-Results: ${value}`).parsed.value);

for (const line of readFileSync(0, 'latin1').split('\n').slice(0, -1)) {
    const value = Buffer.from(line, 'hex').toString('latin1');
    const decoded = attempt(() => decodeWords(value));
    console.log([authservId(value), decoded, authservId(decoded)].map(text => Buffer.from(text).toString('hex')).join(' '));
}
