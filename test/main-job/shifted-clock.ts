/** Loaded into a process before its own code (F31): JavaScript's clock is CLOCK_SHIFT_MS ahead of the machine's there. */
const shift = Number(process.env['CLOCK_SHIFT_MS']);
const machine = Date.now.bind(Date);
Date.now = () => machine() + shift;
globalThis.Date = new Proxy(Date, {
  construct: (target, parameters: [], newTarget: typeof Date) =>
    Reflect.construct(target, parameters.length === 0 ? [Date.now()] : parameters, newTarget) as Date,
});
