/**
 * An error as AWS KMS answers it: `name` travels as `__type`, `status` is the HTTP status code (400 for nearly everything, also for
 * throttling and denied access).
 */
export class KmsError extends Error {
  readonly status: number;

  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

export function validation(message: string): KmsError {
  return new KmsError('ValidationException', message);
}

export function notFound(message: string): KmsError {
  return new KmsError('NotFoundException', message);
}

export function malformedPolicy(message: string): KmsError {
  return new KmsError('MalformedPolicyDocumentException', message);
}

/** For what AWS can do and this stand-in cannot: refused by name, so that nobody takes silence for support. */
export function notModelled(what: string): KmsError {
  return new KmsError('UnsupportedOperationException', `${what} is not modelled by this KMS stand-in.`);
}
