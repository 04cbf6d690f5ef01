// Verifies and signs with mailauth: a line of JSON for each line of name=base64 words, until the input ends.
// The records of each question are all the DNS there is.
'use strict';

const readline = require('node:readline');
const { createRequire } = require('node:module');

// The package is where the set-up put it, not beside this file.
const { dkimVerify } = createRequire(process.cwd() + '/')('mailauth/lib/dkim/verify');
const { dkimSign } = createRequire(process.cwd() + '/')('mailauth/lib/dkim/sign');

// mailauth reports some findings there; standard output is for answers.
console.log = console.error;

const base64 = text => Buffer.from(String(text ?? '')).toString('base64');

const verify = async question => {
    const table = new Map();
    for (const record of question.record ?? []) {
        const [name, text] = record.toString('latin1').split(/ (.*)/s);
        table.set(name.toLowerCase(), [...(table.get(name.toLowerCase()) ?? []), [text]]);
    }
    const resolver = async name => {
        const records = table.get(name.toLowerCase());
        if (!records) {
            throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
        }
        return records;
    };
    const { results } = await dkimVerify(question.message[0], { resolver, curTime: new Date(question.time[0] * 1000) });
    return results
        .filter(result => result.status.result !== 'none')
        .map(result => ({
            selector: base64(result.selector),
            algorithm: base64(result.algo),
            passed: result.status.result === 'pass',
            detail: `${result.status.result} (${result.status.comment ?? ''})`
        }));
};

const sign = async question => {
    const given = name => question[name][0].toString();
    const { signatures, errors } = await dkimSign(question.message[0], {
        canonicalization: given('canonicalization'),
        headerList: given('names').split(':'),
        signTime: new Date(given('time') * 1000),
        expires: given('expires') ? new Date(given('expires') * 1000) : undefined,
        signatureData: [
            {
                signingDomain: given('domain'),
                selector: given('selector'),
                privateKey: given('key'),
                algorithm: given('algorithm')
            }
        ]
    });
    if (errors.length) {
        throw errors[0].err;
    }
    return Buffer.from(signatures, 'latin1').toString('base64');
};

const main = async () => {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        let answer;
        try {
            const question = {};
            for (const word of line.split(' ')) {
                const [name, value] = word.split(/=(.*)/s);
                (question[name] ??= []).push(Buffer.from(value, 'base64'));
            }
            answer = { answer: question.sign ? await sign(question) : await verify(question) };
        } catch (error) {
            answer = { error: String(error) };
        }
        process.stdout.write(JSON.stringify(answer) + '\n');
    }
};

main();
