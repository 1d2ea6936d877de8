"""What a launch is of: the kernel, its candidates, its arguments and the device."""
